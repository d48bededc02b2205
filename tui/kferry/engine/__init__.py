"""The imperative shell: one process per migration, the only one that acts. It decides nothing; see kferry.domain."""
