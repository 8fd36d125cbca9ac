"""Database access: actors, their transactions, tables and notifications."""
