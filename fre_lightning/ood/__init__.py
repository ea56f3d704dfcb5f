"""Images from another world: what a classifier says of images that it was not made for.

A classifier's features of its own training classes span subspaces; an image far from them is not
what it knows (Ndiour, Ahuja and Tickoo 2022, arXiv 2203.10422).
"""
