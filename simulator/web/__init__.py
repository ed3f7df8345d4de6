"""The web server of `simulate serve`: a REST API and one page, from the same functions as the commands."""
