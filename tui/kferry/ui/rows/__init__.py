"""Views of the journal as rows and lines: pure functions, no widgets, no clock."""
