"""The store of embeddings: checked shards on disk, written by several processes, safe under kill."""
