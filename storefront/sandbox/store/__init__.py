"""The sandbox's database: typed rows and one small query layer, on SQLite and PostgreSQL."""
