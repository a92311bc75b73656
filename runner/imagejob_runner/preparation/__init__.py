"""Worker processes that fetch, hash, decode and resize images into memory that they share with the runner.

The runner's interpreter does nothing for each image but book-keeping: `pool.PreparationPool` hands inputs out in units of many and takes
results back in parts of many. A worker (`worker`) is forked from a server that has loaded what it needs (`processes`), works through its
units (`preparer`), and writes model inputs into slots of shared memory (`arena`). It is dispensable: an image that ends it is found by what
the worker was at (`board`), and tried again alone.
"""
