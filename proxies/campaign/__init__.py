"""A list of proxies to train and their results, in one folder, safely to the end."""
