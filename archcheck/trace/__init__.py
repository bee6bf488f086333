"""A live module becomes a `Trace`. The only room that imports torch, besides `load`."""
