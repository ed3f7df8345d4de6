"""The page: a plan that is changed by hand, and at once what that does."""
