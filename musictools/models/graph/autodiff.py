"""What keras.ops lacks: pulling a cotangent back through a function, and compiling one.

TensorFlow is the backend that this is written for and tested with; another one needs these two functions only.
"""

import keras

__all__ = ["compiled", "pull"]


def pull(function, x, cotangent):
    """The vector-Jacobian product of a function at a point.

    Parameters
    ----------
    function : callable
        Tensor -> tensor. Of a linear one only the transposed map remains when compiled, not the map itself.
    x : tensor
    cotangent : tensor [shape of ``function(x)``]

    Returns
    -------
    product : tensor [shape of `x`]
    """
    import tensorflow as tf

    _check_backend()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x, output_gradients=cotangent, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def compiled(function, *shapes):
    """A function of float32 tensors as a graph.

    Parameters
    ----------
    function : callable
        Tensors -> nested tensors.
    *shapes : tuple of int or None
        Of its arguments; None for a side of any length.

    Returns
    -------
    graph : callable
    """
    import tensorflow as tf

    _check_backend()
    return tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])


def _check_backend():
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(f"Explanations are written for Keras's TensorFlow backend. Got "
                                  f"{keras.backend.backend()!r}; musictools/explain/autodiff.py is what it takes.")
