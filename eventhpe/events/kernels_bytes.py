"""Single machine operations on bytes in memory, for kernels that read text.

They take addresses instead of arrays: an array that is passed on to a function has its references counted,
which costs more than the function.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _pointer(context: Any, builder: Any, address: Any, number_type: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType(context.get_value_type(number_type)))


def _address_of(typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, context.get_value_type(types.int64))

    return types.int64(array), generate


def _word_at(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.load(_pointer(context, builder, arguments[0], types.uint64))
        word.align = 1
        return word

    return types.uint64(types.int64), generate


def _byte_at(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = builder.load(_pointer(context, builder, arguments[0], types.uint8))
        return builder.zext(byte, context.get_value_type(types.int64))

    return types.int64(types.int64), generate


def _non_digits_at(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), 64)
        characters = builder.load(builder.inttoptr(arguments[0], ir.PointerType(vector)))
        characters.align = 1
        values = builder.sub(characters, ir.Constant(vector, [ord("0")] * 64))
        found = builder.icmp_unsigned(">", values, ir.Constant(vector, [9] * 64))
        return builder.bitcast(found, context.get_value_type(types.uint64))

    return types.uint64(types.int64), generate


def _trailing_zeros_of(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


#: address_of(array) -> int64: where an array begins in memory. The caller keeps the array.
address_of: Any = intrinsic(_address_of)

#: word_at(address) -> uint64: eight bytes from any address, the first one lowest.
word_at: Any = intrinsic(_word_at)

#: byte_at(address) -> int64: one byte.
byte_at: Any = intrinsic(_byte_at)

#: non_digits_at(address) -> uint64: which of 64 bytes are none of "0" to "9", one bit each, the first lowest.
non_digits_at: Any = intrinsic(_non_digits_at)

#: trailing_zeros_of(word) -> uint64: zero bits below the lowest one bit; 64 if there is none.
trailing_zeros_of: Any = intrinsic(_trailing_zeros_of)
