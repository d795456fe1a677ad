"""Metrics of attribution: can a map be trusted?

Calling convention
------------------
The first argument says what a metric judges. What follows the data is keyword-only.

Metrics of maps
    ``metric(relevance, truth, *, …)`` takes arrays alone and returns one value for each map: `localisation` (truth is a
    mask), `edges.edge_share` (no truth), `sanity.energy_correlation` (the input), `sanity.similarity` (another map; one
    row for each map).
Metrics that ask the model
    ``metric(model, x, neuron, relevance, *, baseline="mean", …)`` replaces parts of the input by a baseline and asks
    the model again: `faithfulness.curves` and `faithfulness.masked`. ``model`` may be a Keras model, an `Explainer` or
    a callable x -> logits.
Metrics of methods
    ``metric(model, x, neuron, *, method="deep_taylor", seed=0, **options)`` explains by itself and returns a table with
    one row for each sample: `sanity`, `equivariance` (which takes clips ``y`` in place of ``x``) and `badge`. ``model``
    is a Keras model, or an `Explainer`, whose own method, seed and options then hold. `sanity.randomisation_curve`,
    `sanity.label_swap_error` and `badge` change copies of the model and need the Keras model itself.

``x`` holds model inputs, (n, n_bins, n_frames, 1) of spectrograms or (n, n_samples, 1) of waveforms. ``neuron`` is one
output for all samples, or an array with one output a sample. ``baseline`` always names what replaces the input.
"""
