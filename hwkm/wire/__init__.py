"""Messages and errors that cross a process boundary, each defined once.

:mod:`~hwkm.wire.api` and :mod:`~hwkm.wire.operations` are the public HTTP interface,
:mod:`~hwkm.wire.problems` its errors; :mod:`~hwkm.wire.core_messages` and
:mod:`~hwkm.wire.framing` are the private channel between hwkmd and hwkm-thm.
"""
