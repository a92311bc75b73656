"""The Leases of a cluster: what they are called and how they look (`names`, `objects`), and the store of them (`store`)."""
