"""How results look: tables for a terminal, charts as files."""
