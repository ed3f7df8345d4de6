"""Which training documents are kept: steps that score the documents of a domain and choose among them.

A step is one file in `steps/`, found by the registry; a package of one's own names a module under the entry point
`foretrain.selection`. `select` runs the steps of a domain and returns what they kept.
"""
