"""The studio: a page on which one looks at molecules, watches a search and steers it.

It is the second face of the package: `server` says who may talk to it, `page` lays it out, and what
they show comes from the same functions as on the command line.
"""
