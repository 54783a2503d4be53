"""`ChannelMask`: the layer wrapper that holds masks (tf_keras)."""
