"""Plans of what a training set keeps, made in rows, shards and streams."""
