"""Studies that outlive the processes that write them: journals, databases, leases, the loop of trials."""
