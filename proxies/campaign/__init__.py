"""Campaigns: a list of proxies to train and their results in one folder, with resumption after interruptions."""
