"""How far does learning from comparisons get: gain by KL divergence, where it turns, what labels and compute cost?"""
