"""How likely is it that weaker overseers succeed, by published laws?"""
