"""PostgreSQL with row-level security: the ENGINE of the application's database."""
