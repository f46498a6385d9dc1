"""The stack machine whose programs pickles are: plain data, and a table of names for anything else.

The instructions are those of Python's `pickletools`, protocols 0 to 5. What makes objects of classes, or reaches out of
the file, is refused.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from cellseg_mmdet.errors import quoted

_MAX_NUMBER_BYTES = 1024
ADMITTED = "tensors, numpy arrays, lists, tuples, dicts, sets, strings and numbers"


class PickleFault(Exception):
    """What is wrong with a pickle."""


class Name:
    """A name that a file refers to.

    Args:
        text: module and name.
        build: makes an object of the machine and arguments; None for a name that is an argument itself.
    """

    __slots__ = ("build", "text")

    def __init__(self, text: str, build: Callable[..., Any] | None) -> None:
        self.text, self.build = text, build


class Pending(ABC):
    """An object that gets its state after it was made."""

    @abstractmethod
    def with_state(self, machine: Machine, state: Any) -> Any:
        """Return the object that takes its place, with this state."""

    @abstractmethod
    def settled(self) -> Any:
        """Return what stands for it once it has its state."""


class Budget:
    """How many bytes may still be made.

    Args:
        num_bytes: at the begin.
    """

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def take(self, num_bytes: int) -> None:
        """Take some of them.

        Raises:
            PickleFault: there are not as many left.
        """
        self._left -= num_bytes
        if self._left < 0:
            raise PickleFault("its arrays are larger than the file could hold")


class Machine:
    """One run through the instructions of a pickle.

    Args:
        content: all of it.
        names: module and name -> what they stand for; a name of no entry is an error.
        budget: of what is made besides the plain data, which is in the content.
        persistent: makes an object of a reference to something outside of the pickle; None refuses them.

    Attributes:
        at: index of the next byte.
        refers_to_names: whether any name was used.
    """

    def __init__(
        self,
        content: bytes,
        names: Mapping[str, Name],
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.content, self.budget, self.at = content, budget, 0
        self.refers_to_names = False
        self._names = names
        self._persistent = persistent

    def run(self) -> Any:
        """Return what the instructions up to STOP build."""
        # One long loop over local names: it runs thirty times for each cell of a file.
        content, at = self.content, self.at
        stack: list[Any] = []
        marked: list[list[Any]] = []
        memo: dict[int, Any] = {}
        push = stack.append
        while True:
            op = content[at]
            at += 1
            if op == 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
            elif op == 0x71:  # BINPUT
                memo[content[at]] = stack[-1]
                at += 1
            elif op == 0x68 or op == 0x6A:  # BINGET, LONG_BINGET
                if op == 0x68:
                    found = memo[content[at]]
                    at += 1
                else:
                    found = memo[_u4(content, at)[0]]
                    at += 4
                if isinstance(found, Pending):
                    found = found.settled()
                push(found)
            elif op == 0x4B:  # BININT1
                push(content[at])
                at += 1
            elif op == 0x4D:  # BININT2
                push(_u2(content, at)[0])
                at += 2
            elif op == 0x4A:  # BININT
                push(_i4(content, at)[0])
                at += 4
            elif op == 0x47:  # BINFLOAT
                push(_f8(content, at)[0])
                at += 8
            elif (
                op == 0x8C or op == 0x58 or op == 0x8D
            ):  # SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
                self.at = at
                push(
                    self._sized(1 if op == 0x8C else 4 if op == 0x58 else 8).decode(
                        "utf-8", "surrogatepass"
                    )
                )
                at = self.at
            elif op == 0x28:  # MARK
                marked.append(stack)
                stack = []
                push = stack.append
            elif op == 0x75:  # SETITEMS
                items, stack = stack, marked.pop()
                push = stack.append
                set_items(stack[-1], items)
            elif op == 0x73:  # SETITEM
                items = [*stack[-2:]]
                del stack[-2:]
                set_items(stack[-1], items)
            elif op == 0x65:  # APPENDS
                items, stack = stack, marked.pop()
                push = stack.append
                exactly(list, stack[-1]).extend(items)
            elif op == 0x61:  # APPEND
                item = stack.pop()
                exactly(list, stack[-1]).append(item)
            elif op == 0x5D:  # EMPTY_LIST
                push([])
            elif op == 0x7D:  # EMPTY_DICT
                push({})
            elif op == 0x29:  # EMPTY_TUPLE
                push(())
            elif op == 0x85:  # TUPLE1
                stack[-1] = (stack[-1],)
            elif op == 0x86:  # TUPLE2
                stack[-2:] = [(stack[-2], stack[-1])]
            elif op == 0x87:  # TUPLE3
                stack[-3:] = [(stack[-3], stack[-2], stack[-1])]
            elif op == 0x74 or op == 0x6C or op == 0x64:  # TUPLE, LIST, DICT
                items, stack = stack, marked.pop()
                push = stack.append
                push(tuple(items) if op == 0x74 else items if op == 0x6C else set_items({}, items))
            elif op == 0x4E:  # NONE
                push(None)
            elif op == 0x88 or op == 0x89:  # NEWTRUE, NEWFALSE
                push(op == 0x88)
            elif op == 0x43 or op == 0x42 or op == 0x8E:  # SHORT_BINBYTES, BINBYTES, BINBYTES8
                self.at = at
                push(self._sized(1 if op == 0x43 else 4 if op == 0x42 else 8))
                at = self.at
            elif op == 0x96:  # BYTEARRAY8
                self.at = at
                push(bytearray(self._sized(8)))
                at = self.at
            elif op == 0x8A or op == 0x8B:  # LONG1, LONG4
                self.at = at
                data = self._sized(1 if op == 0x8A else 4)
                at = self.at
                if len(data) > _MAX_NUMBER_BYTES:
                    raise PickleFault(f"an integer of {len(data)} bytes")
                push(int.from_bytes(data, "little", signed=True))
            elif op == 0x72:  # LONG_BINPUT
                memo[_u4(content, at)[0]] = stack[-1]
                at += 4
            elif (
                op == 0x95
            ):  # FRAME: how the content is cut into pieces, which nothing here needs to know
                at += 8
            elif op == 0x80:  # PROTO
                if content[at] > 5:
                    raise PickleFault(f"its protocol is {content[at]}, the last one known is 5")
                at += 1
            elif op == 0x93 or op == 0x63:  # STACK_GLOBAL, GLOBAL
                if op == 0x93:
                    module, name = stack[-2], stack[-1]
                    del stack[-2:]
                else:
                    self.at = at
                    module, name = self._line().decode("utf-8"), self._line().decode("utf-8")
                    at = self.at
                push(self._named(module, name))
            elif op == 0x52:  # REDUCE
                arguments = stack.pop()
                function = stack[-1]
                if type(function) is not Name or function.build is None:
                    raise PickleFault("it calls something that is no function")
                stack[-1] = function.build(self, *exactly(tuple, arguments))
            elif op == 0x62:  # BUILD
                state = stack.pop()
                if not isinstance(stack[-1], Pending):
                    raise PickleFault(f"it gives a {type(stack[-1]).__name__} a state")
                stack[-1] = stack[-1].with_state(self, state)
            elif op == 0x8F:  # EMPTY_SET
                push(set())
            elif op == 0x90 or op == 0x91:  # ADDITEMS, FROZENSET
                items, stack = stack, marked.pop()
                push = stack.append
                for item in items:
                    _check_key(item)
                if op == 0x90:
                    exactly(set, stack[-1]).update(items)
                else:
                    push(frozenset(items))
            elif op == 0x30:  # POP
                if stack:
                    stack.pop()
                else:
                    stack = marked.pop()
                    push = stack.append
            elif op == 0x31:  # POP_MARK
                stack = marked.pop()
                push = stack.append
            elif op == 0x2E:  # STOP
                self.at = at
                return stack.pop()
            elif op == 0x51 and self._persistent is not None:  # BINPERSID
                stack[-1] = self._persistent(stack[-1])
            elif op == 0x55 or op == 0x54:  # SHORT_BINSTRING, BINSTRING: of Python 2
                self.at = at
                push(self._sized(1 if op == 0x55 else 4).decode("ascii"))
                at = self.at
            elif op in _TEXT_NUMBERS:  # of protocol 0
                self.at = at
                push(_TEXT_NUMBERS[op](self._line()))
                at = self.at
            elif op == 0x67 or op == 0x70:  # GET, PUT
                self.at = at
                number = int(self._line())
                at = self.at
                if op == 0x70:
                    memo[number] = stack[-1]
                else:
                    found = memo[number]
                    push(found.settled() if isinstance(found, Pending) else found)
            else:
                raise PickleFault(_unknown(op, at - 1))

    def _sized(self, width: int) -> bytes:
        """Return as many bytes as the number says that stands before them in ``width`` bytes."""
        begin = self.at + width
        end = begin + int.from_bytes(self.content[self.at : begin], "little")
        if end > len(self.content):
            raise PickleFault("the file is cut off")
        self.at = end
        return self.content[begin:end]

    def _line(self) -> bytes:
        end = self.content.find(b"\n", self.at)
        if end < 0:
            raise PickleFault("the file is cut off")
        line, self.at = self.content[self.at : end], end + 1
        return line

    def _named(self, module: Any, name: Any) -> Name:
        self.refers_to_names = True
        text = f"{exactly(str, module)}.{exactly(str, name)}"
        if text not in self._names:
            raise PickleFault(f"it holds a {quoted(text)[1:-1]}; allowed are {ADMITTED}")
        return self._names[text]


_u2, _u4, _i4 = (struct.Struct(code).unpack_from for code in ("<H", "<I", "<i"))
_f8 = struct.Struct(">d").unpack_from


def _text_integer(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > _MAX_NUMBER_BYTES:
        raise PickleFault(f"an integer of {len(line)} digits")
    return int(line.removesuffix(b"L"))


# INT, LONG, FLOAT, UNICODE
_TEXT_NUMBERS: dict[int, Callable[[bytes], Any]] = {
    0x49: _text_integer,
    0x4C: _text_integer,
    0x46: float,
    0x56: lambda line: line.decode("raw-unicode-escape"),
}
# What the known instructions are called that are refused.
_REFUSED = {
    0x81: "makes an object of a class (NEWOBJ)",
    0x92: "makes an object of a class (NEWOBJ_EX)",
    0x69: "makes an object of a class (INST)",
    0x6F: "makes an object of a class (OBJ)",
    0x50: "refers to something outside of it (PERSID)",
    0x51: "refers to something outside of it (BINPERSID)",
    0x97: "refers to a buffer outside of it (NEXT_BUFFER)",
    0x98: "refers to a buffer outside of it (READONLY_BUFFER)",
    0x82: "refers to the extension registry (EXT1)",
    0x83: "refers to the extension registry (EXT2)",
    0x84: "refers to the extension registry (EXT4)",
    0x53: "holds quoted text of Python 2 (STRING)",
}


def _unknown(op: int, at: int) -> str:
    if op in _REFUSED:
        return f"it {_REFUSED[op]}; allowed are {ADMITTED}"
    return f"byte {at}, {op:#04x}, is no instruction of a pickle"


def exactly(kind: type, found: Any) -> Any:
    """Return what was found; a fault unless it is of this very type."""
    if type(found) is not kind:
        raise PickleFault(f"a {type(found).__name__} stands where a {kind.__name__} has to")
    return found


def set_items(found: Any, items: list[Any]) -> dict[Any, Any]:
    """Put keys and values, in turns, into a dict."""
    if type(found) is not dict or len(items) % 2:
        raise PickleFault(f"{len(items)} keys and values for a {type(found).__name__}")
    for index in range(0, len(items), 2):
        key = items[index]
        if type(key) is not str:
            _check_key(key)
        found[key] = items[index + 1]
    return found


def _check_key(key: Any) -> None:
    """Refuse what cannot be a key, and tuples in tuples: Python hashes them without a limit on their depth."""
    if type(key) is tuple:
        for part in key:
            if type(part) not in _SCALARS:
                raise PickleFault(f"a tuple with a {type(part).__name__} as a key")
    elif type(key) not in _SCALARS:
        raise PickleFault(f"a {type(key).__name__} as a key")
    elif (
        type(key) is int and abs(key) > _LARGEST_KEY
    ):  # above, equal hashes can be chosen, and dicts made slow
        raise PickleFault("an integer as a key that is too large for one")


_LARGEST_KEY = 1 << 60
_SCALARS = (str, bytes, int, float, bool, type(None))
