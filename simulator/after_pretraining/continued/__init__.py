"""What does a model gain in a domain, and lose in general, when its pretraining goes on with a share of that domain?"""
