"""Every request and response against botocore's own service model of AWS KMS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import botocore.session
import msgspec
import pytest
from botocore.model import Shape
from msgspec import inspect

from hwkm.server.aws import errors, translation
from hwkm.server.aws.authentication import CHANGING_OPERATIONS, REVEALING_OPERATIONS
from hwkm.server.aws.operations.table import OPERATIONS, UNSUPPORTED
from hwkm.server.aws.requests import Encrypt, EncryptionAlgorithm, Request
from hwkm.server.aws.responses import Decrypted, Response

MODEL = botocore.session.get_session().get_service_model("kms")
NAMES = sorted(OPERATIONS)

NARROWER = {
    # what the real service takes is narrower than its model
    ("ScheduleKeyDeletion", "PendingWindowInDays"): (7, 30),
}
NOT_IN_MODEL = {
    # unmodelled errors that all AWS services know
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationException",
}


def response_of(name: str) -> Any:
    returned = get_type_hints(OPERATIONS[name].handler)["return"]
    return None if returned is type(None) else returned


def fields_of(struct: Any) -> dict[str, Any]:
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    return {field.encode_name: field for field in kind.fields}


def plain(kind: Any) -> Any:
    """A type without None."""
    if isinstance(kind, inspect.UnionType):
        (kind,) = [other for other in kind.types if not isinstance(other, inspect.NoneType)]
    return kind


def test_the_operations_of_the_model_are_the_supported_and_the_refused_ones() -> None:
    assert set(OPERATIONS) | UNSUPPORTED == set(MODEL.operation_names)
    assert not set(OPERATIONS) & UNSUPPORTED
    assert len(OPERATIONS) == 13 + 16 + 7 + 2
    assert set(OPERATIONS) >= CHANGING_OPERATIONS | REVEALING_OPERATIONS


@pytest.mark.parametrize("name", NAMES)
def test_requests_have_exactly_the_members_of_the_model(name: str) -> None:
    shape = MODEL.operation_model(name).input_shape
    fields = fields_of(OPERATIONS[name].request)
    assert set(fields) == set(shape.members)
    assert {member for member, field in fields.items() if field.required} == set(shape.required_members)


@pytest.mark.parametrize("name", NAMES)
def test_constraints_of_requests_are_those_of_the_model(name: str) -> None:
    shape = MODEL.operation_model(name).input_shape
    for member, field in fields_of(OPERATIONS[name].request).items():
        check_constraints(plain(field.type), shape.members[member], NARROWER.get((name, member)))


def check_constraints(kind: Any, shape: Shape, narrower: tuple[int, int] | None) -> None:
    least, most = narrower or (shape.metadata.get("min"), shape.metadata.get("max"))
    match shape.type_name:
        case "string" if "enum" in shape.metadata:
            assert isinstance(kind, inspect.LiteralType)
            assert set(kind.values) == set(shape.enum)
        case "string":
            assert isinstance(kind, inspect.StrType)
            assert (kind.min_length or 0, kind.max_length or most) == (least or 0, most)
            assert kind.pattern is None or shape.metadata["pattern"] in (
                kind.pattern,
                kind.pattern.strip("^$"),
            )
        case "blob":
            assert isinstance(kind, inspect.BytesType)
            if shape.name != "AttestationDocumentType":
                assert (kind.min_length, kind.max_length) == (least, most)
        case "integer":
            assert isinstance(kind, inspect.IntType)
            assert (kind.ge, kind.le) == (least, most)
        case "boolean":
            assert isinstance(kind, inspect.BoolType)
        case "list":
            assert isinstance(kind, inspect.ListType)
            check_constraints(kind.item_type, shape.member, None)
        case "structure":
            assert isinstance(kind, inspect.StructType)
            members = {field.encode_name: field for field in kind.fields}
            assert set(members) == set(shape.members)
        case "map":
            assert isinstance(kind, inspect.RawType)
            assert (shape.key.type_name, shape.value.type_name) == ("string", "string")
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize("name", NAMES)
def test_responses_have_no_member_that_the_model_has_not(name: str) -> None:
    shape = MODEL.operation_model(name).output_shape
    response = response_of(name)
    if response is None or shape is None:
        assert (response, shape) == (None, None)
    else:
        check_response(inspect.type_info(response), shape)


def check_response(kind: Any, shape: Shape) -> None:
    match shape.type_name:
        case "structure":
            assert isinstance(kind, inspect.StructType)
            names = [field.encode_name for field in kind.fields]
            assert set(names) <= set(shape.members)
            assert set(shape.required_members) <= set(names)
            for field in kind.fields:
                check_response(plain(field.type), shape.members[field.encode_name])
        case "list":
            assert isinstance(kind, inspect.VarTupleType)
            check_response(kind.item_type, shape.member)
        case "string" if isinstance(kind, inspect.LiteralType):
            assert set(kind.values) <= set(shape.enum)
        case "boolean" if isinstance(kind, inspect.LiteralType):
            assert kind.values == (True,)
        case other:
            expected = {
                "string": inspect.StrType,
                "blob": inspect.BytesType,
                "timestamp": inspect.FloatType,
                "integer": inspect.IntType,
                "boolean": inspect.BoolType,
            }
            assert isinstance(kind, expected[other])


def error_names() -> Iterator[str]:
    yield from translation._NAMES.values()
    yield from translation._TEXTS
    yield from NOT_IN_MODEL
    yield from errors.SERVER_FAULTS


def test_error_names_are_those_of_the_model_and_its_statuses_too() -> None:
    shapes = MODEL._service_description["shapes"]
    for name in error_names():
        if name in NOT_IN_MODEL:
            assert name not in shapes
            assert errors.AwsError(name).status == 400
        else:
            is_fault = shapes[name].get("fault", False)
            assert errors.AwsError(name).status == (500 if is_fault else 400)


def test_no_request_and_no_response_shows_what_it_holds() -> None:
    for name in NAMES:
        for struct in (OPERATIONS[name].request, response_of(name)):
            if struct is not None:
                assert issubclass(struct, msgspec.Struct)
                assert struct.__repr__ in (Request.__repr__, Response.__repr__)
    assert (
        repr(Decrypted(key_id="a", plaintext=b"b", encryption_algorithm="SYMMETRIC_DEFAULT")) == "<Decrypted>"
    )
    assert repr(Encrypt(key_id="a", plaintext=b"b")) == "<Encrypt>"


def test_literals_of_responses_are_those_of_the_model() -> None:
    assert set(get_args(EncryptionAlgorithm)) == set(MODEL.shape_for("EncryptionAlgorithmSpec").enum)
