"""Checkpoints of PyTorch, written without PyTorch, also impossible ones."""

import io
import pickle
import struct
import zipfile

STORAGES = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "b1": "Bool"}


class Writer:
    """Writes what PyTorch writes, operation by operation."""

    def __init__(self):
        self.out = io.BytesIO(b"")
        self.out.write(pickle.PROTO + b"\x02")

    def text(self, value):
        encoded = value.encode()
        self.out.write(pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded)

    def integers(self, values):
        self.out.write(pickle.MARK)
        for value in values:
            self.out.write(pickle.BININT + struct.pack("<i", value))
        self.out.write(pickle.TUPLE)

    def tensor(self, key, array, *, storage=None, size=None, offset=0, shape=None, strides=None, view=False):
        self.out.write(pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n" + pickle.MARK + pickle.MARK)
        self.text("storage")
        self.out.write(pickle.GLOBAL + f"torch\n{storage or STORAGES[array.dtype.str[1:]]}Storage\n".encode())
        self.text(key)
        self.text("cuda:0")
        self.out.write(pickle.BININT + struct.pack("<i", array.size if size is None else size))
        if view:
            self.out.write(pickle.NONE)
        self.out.write(pickle.TUPLE + pickle.BINPERSID + pickle.BININT + struct.pack("<i", offset))
        self.integers(array.shape if shape is None else shape)
        self.integers([s // array.itemsize for s in array.strides] if strides is None else strides)
        self.out.write(pickle.NEWFALSE + pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + b"R")
        self.out.write(pickle.TUPLE + pickle.REDUCE)

    def state(self, arrays, **options):
        self.out.write(pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE + pickle.MARK)
        for key, (name, array) in enumerate(arrays.items()):
            self.text(name)
            self.tensor(str(key), array, **options)
        self.out.write(pickle.SETITEMS)
        self.out.write(pickle.EMPTY_DICT)  # PyTorch notes versions of modules in the attribute _metadata
        self.text("_metadata")
        self.out.write(pickle.EMPTY_DICT + pickle.SETITEM + pickle.BUILD + pickle.STOP)
        return self.out.getvalue()


def legacy(arrays, *, state=None, magic=0x1950A86A20F9469CFC6C, little=True, **options):
    head = [magic, 1001, {"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}]
    parts = [pickle.dumps(value, 2) for value in head] + [state or Writer().state(arrays, view=True, **options)]
    parts.append(pickle.dumps([str(key) for key in range(len(arrays))], 2))
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in arrays.values()]
    return b"".join(parts)


def zipped(arrays, *, state=None, compression=zipfile.ZIP_STORED, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("model/data.pkl", state or Writer().state(arrays, **options))
        archive.writestr("model/byteorder", "little")
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"model/data/{key}", array.tobytes())
    return out.getvalue()
