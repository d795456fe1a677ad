"""Where the files of the released networks lie in the shared data."""

from musictools import released


def files(shared_data):
    """Path of every released network's file, by name."""
    choi = shared_data / "choi2018" / "keras2_model" / "model_best.hdf5"
    names = [name for name in released.names() if name != "choi2018"]
    return {"choi2018": choi} | {
        name: shared_data / "won2020" / f"{name.removeprefix('won2020-').replace('-', '_')}.pth" for name in names
    }
