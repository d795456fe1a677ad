"""What keras.ops lacks: derivatives of a function, compiling it, and noticing that weights have changed.

These functions are all that is written for TensorFlow, Keras's backend that this package is tested with.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["WeightWatch", "compiled", "compiled_arrays", "pull"]


def pull(function: Callable, x: Any, cotangent: Any) -> Any:
    """Vector-Jacobian product of a function at a point.

    Parameters
    ----------
    function : callable
        Tensor -> tensor. If it is linear, the compiled graph holds the transposed map only, not the map itself.
    x : tensor
        The point.
    cotangent : tensor [shape of ``function(x)``]
        What is multiplied by the Jacobian from the left.

    Returns
    -------
    product : tensor [shape of `x`]
        Zeros if the function does not depend on `x`.

    Raises
    ------
    NotImplementedError
        If Keras runs on another backend than TensorFlow.

    Examples
    --------
    >>> from keras import ops
    >>> x = ops.convert_to_tensor([1.0, 2.0, 3.0])
    >>> np.asarray(pull(lambda x: x**2, x, ops.ones(3))).tolist()
    [2.0, 4.0, 6.0]
    """
    import tensorflow as tf

    _check_backend()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x, output_gradients=cotangent, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def compiled(function: Callable, *shapes: tuple) -> Callable:
    """Compile a function of float32 tensors.

    Parameters
    ----------
    function : callable
        Tensors -> nested tensors.
    *shapes : tuple of int or None
        Shape of each argument; None for a side of any length.

    Returns
    -------
    graph : callable
        Arrays or tensors -> nested tensors.

    Raises
    ------
    NotImplementedError
        If Keras runs on another backend than TensorFlow.

    See Also
    --------
    compiled_arrays : The same with arrays as results.
    """
    import tensorflow as tf

    _check_backend()
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    # Nothing here branches on a tensor. Translating Keras's own source by AutoGraph would take most of the tracing.
    return tf.function(function, input_signature=signature, autograph=False)


def compiled_arrays(function: Callable, *shapes: tuple) -> Callable:
    """Compile a function of float32 tensors to be called with arrays.

    Parameters
    ----------
    function : callable
        Tensors -> nested tensors.
    *shapes : tuple of int or None
        Shape of each argument; None for a side of any length.

    Returns
    -------
    graph : callable
        np.ndarray, one or several -> nested np.ndarray.

    Examples
    --------
    >>> double = compiled_arrays(lambda x: 2 * x, (None,))
    >>> double(np.ones(2)).tolist()
    [2.0, 2.0]
    """
    # Traced now: TensorFlow mistakes many short-lived objects at reused addresses for retracing and warns.
    graph = compiled(function, *shapes).get_concrete_function()

    def call(*arrays):
        outputs = graph(*(ops.convert_to_tensor(array, dtype="float32") for array in arrays))
        return keras.tree.map_structure(ops.convert_to_numpy, outputs)

    return call


class WeightWatch:
    """Tells whether a model's weights are still the same.

    A tensor that was read from a variable never changes: every assignment gives the variable another buffer for as
    long as the tensor lives. So a weight whose buffer is still where it was needs no comparison. The others are
    compared number by number. An unchanged model costs a millisecond, whatever its size. The watch keeps the memory
    of weights that have been replaced until it is asked again.

    Parameters
    ----------
    model : keras.Model
        The model to watch.
    """

    def __init__(self, model: keras.Model):
        self._seen = [_buffer(weight) for weight in model.weights]

    def unchanged(self, model: keras.Model) -> bool:
        """Whether the model has the same weights as when this was last asked.

        Parameters
        ----------
        model : keras.Model
            The model that is watched.

        Returns
        -------
        unchanged : bool
            False if any weight differs in any bit.
        """
        before, self._seen = self._seen, [_buffer(weight) for weight in model.weights]
        return len(before) == len(self._seen) and all(map(_same, before, self._seen))


def _buffer(weight):
    """A weight's memory as bytes; without a copy where TensorFlow gives access to it."""
    import tensorflow as tf

    try:
        return np.asarray(memoryview(tf.convert_to_tensor(weight.value))).reshape(-1).view(np.uint8)
    except (BufferError, TypeError, ValueError):
        return np.ascontiguousarray(ops.convert_to_numpy(weight)).reshape(-1).view(np.uint8)


def _same(a, b):
    return a.ctypes.data == b.ctypes.data and a.size == b.size or np.array_equal(a, b)


def _check_backend():
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            f"Derivatives are written for Keras's TensorFlow backend. Got {keras.backend.backend()!r}."
        )
