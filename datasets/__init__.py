"""Everything that is data: run tables, and facts published elsewhere."""
