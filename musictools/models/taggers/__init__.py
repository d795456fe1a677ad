"""The taggers of the sources, one family per file; every one ends in the layers ``logits`` and ``sigmoid``.

Spectrogram models take (n_mels, length, 1), low frequency first, scaled to [0, 1] by the front end; waveform models
take (n_samples, 1) in [-1, 1]. The module of a family holds ``MODELS``, its `Description`s by name. All modules of
this package are read: a new tagger needs nothing but its own file.
"""
