"""Goals and limits of a study, and the measures that they name."""
