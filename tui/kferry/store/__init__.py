"""The journal: one SQLite file per migration, and the plain files beside it. The only thing faces and engine share."""
