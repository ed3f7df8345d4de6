"""What reports say: of plans, studies, running jobs and back-tests."""
