"""C_SignInit and C_Sign without a layer between: the two functions that run all day.

python-pkcs11 makes five objects, takes a lock and asks the token for the length before each signature:
half of the time of an HMAC of SoftHSM. Both call the same loaded library on the same session, so a login
and a handle of one are those of the other. ADR 0020 has the measurement and the price.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

from pkcs11.mechanisms import Mechanism

from hwkm.errors import TokenBusy, TokenError, TokenFull, TokenUnavailable

_OUTPUT_BYTES: Final = 64  # the longest HMAC, that of SHA-512

# Places of the two in CK_FUNCTION_LIST (PKCS#11 v3.1, 5.3), after its version.
_SIGN_INIT: Final = 42
_SIGN: Final = 43
_FUNCTIONS: Final = 68

_CKR_DEVICE_MEMORY: Final = 0x31
_CKR_SESSION_COUNT: Final = 0xB1
_NOT_APPLIED: Final[dict[int, type[TokenError]]] = {
    _CKR_DEVICE_MEMORY: TokenFull,
    _CKR_SESSION_COUNT: TokenBusy,
}

_Long = ctypes.c_ulong
_Pointer = ctypes.c_void_p
_SignInit: Final = ctypes.CFUNCTYPE(_Long, _Long, _Pointer, _Long)
_Sign: Final = ctypes.CFUNCTYPE(_Long, _Long, ctypes.c_char_p, _Long, _Pointer, _Pointer)


class _FunctionList(ctypes.Structure):
    _fields_ = [("version", ctypes.c_ubyte * 2), ("functions", _Pointer * _FUNCTIONS)]  # type: ignore[mutable-override]


class _MechanismStruct(ctypes.Structure):
    _fields_ = [("mechanism", _Long), ("parameter", _Pointer), ("length", _Long)]  # type: ignore[mutable-override]


class DirectHmac:
    """HMACs on one session of a library that python-pkcs11 has loaded and logged in to."""

    def __init__(self, module_path: str, session: int) -> None:
        """Find the functions.

        Raises:
            TokenUnavailable: the library does not tell its functions.
        """
        self._session = session
        self._library = ctypes.CDLL(module_path)
        functions = _function_list(self._library)
        self._sign_init = _SignInit(functions[_SIGN_INIT])
        self._sign = _Sign(functions[_SIGN])
        self._output = ctypes.create_string_buffer(_OUTPUT_BYTES)
        self._length = _Long(0)
        self._mechanisms: dict[Mechanism, _MechanismStruct] = {}

    def hmac(self, key: int, mechanism: Mechanism, size: int, messages: Sequence[bytes]) -> list[bytes]:
        """Return the HMAC (``size`` bytes) of each message by the key object with that handle.

        Raises:
            TokenBusy, TokenFull: the token has no room for the operation.
            TokenUnavailable: the token failed; the session is of no use any more.
        """
        sign_init, sign, session = self._sign_init, self._sign, self._session
        parameters = ctypes.addressof(self._mechanism(mechanism))
        output, length = self._output, self._length
        output_at, length_at = ctypes.addressof(output), ctypes.addressof(length)
        results = []
        for message in messages:
            failure = sign_init(session, parameters, key)
            if failure:
                raise _error(failure)
            length.value = _OUTPUT_BYTES
            failure = sign(session, message, len(message), output_at, length_at)
            if failure:
                raise _error(failure)
            if length.value != size:
                raise TokenUnavailable(f"the token's HMAC has {length.value} bytes, not {size}")
            results.append(output.raw[:size])
        return results

    def _mechanism(self, mechanism: Mechanism) -> _MechanismStruct:
        struct = self._mechanisms.get(mechanism)
        if struct is None:
            struct = self._mechanisms[mechanism] = _MechanismStruct(int(mechanism), None, 0)
        return struct


def _function_list(library: Any) -> Any:
    found = ctypes.POINTER(_FunctionList)()
    get = library.C_GetFunctionList
    get.restype, get.argtypes = _Long, (_Pointer,)
    failure = get(ctypes.addressof(found))
    if failure:
        raise TokenUnavailable(f"the PKCS#11 library does not tell its functions: CKR 0x{failure:x}")
    return found.contents.functions


def _error(code: int) -> TokenError:
    kind = _NOT_APPLIED.get(code, TokenUnavailable)
    return kind(f"computing an HMAC: the token failed, CKR 0x{code:x}")
