"""File types of run tables beside CSV and Parquet."""
