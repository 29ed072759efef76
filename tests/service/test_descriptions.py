"""Descriptions of endpoints: taken apart as Twisted does it, completed, and relieved of TLS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import endpoints

from ka_twisted.config import Certificate, Tls
from ka_twisted.service.configuration.endpoints import EndpointDescription, resolvePaths, splitTls

#: Without the backslash at the end that Twisted does not understand.
texts = st.text("ab:=\\/", max_size=16).filter(lambda text: not (len(text) - len(text.rstrip("\\"))) % 2)


@given(texts)
def test_a_description_is_taken_apart_as_twisted_does_it(text: str) -> None:
    it = EndpointDescription.fromString(f"x:{text}")
    arguments, named = endpoints._parse(f"x:{text}")
    assert ([it.type, *it.arguments], it.named) == (arguments, named)


@given(texts)
def test_a_description_is_put_together_again(text: str) -> None:
    it = EndpointDescription.fromString(f"x:{text}")
    assert EndpointDescription.fromString(str(it)) == it


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("tcp:80:interface=a", "tcp:80:interface=a"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ("unix:/run/s", "unix:/run/s"),
        ("unix:", "unix:"),
        ("unix", "unix"),
        ("unix:s", "unix:/etc/x/s"),
        (r"unix:a\=b\:c:mode=600", r"unix:/etc/x/a\=b\:c:mode=600"),
        ("unix:address=s", "unix:address=/etc/x/s"),
        ("ssl:443", "ssl:443:privateKey=/etc/x/server.pem"),
        ("ssl:443:a:/b", "ssl:443:/etc/x/a:/b"),
        ("ssl:443:privateKey=a:certKey=/b", "ssl:443:privateKey=/etc/x/a:certKey=/b"),
        ("ssl:443:privateKey=/a", "ssl:443:privateKey=/a"),
    ],
)
def test_relative_paths_begin_at_a_folder(text: str, completed: str) -> None:
    assert resolvePaths(text, "/etc/x") == completed


@pytest.mark.parametrize(
    ("text", "endpoint", "chain", "key"),
    [
        ("ssl:443", "tcp:443", "server.pem", "server.pem"),
        ("ssl:443:/k", "tcp:443", "/k", "/k"),
        ("ssl:443:/k:/c", "tcp:443", "/c", "/k"),
        (r"ssl:port=443:privateKey=/k:certKey=/c:interface=\:\:1:backlog=9", r"tcp:443:interface=\:\:1:backlog=9",
         "/c", "/k"),
        (r"ssl:443:privateKey=/a\:b\=c", "tcp:443", "/a:b=c", "/a:b=c"),
    ],
)  # fmt: skip
def test_tls_is_parted_from_the_endpoint_beneath(text: str, endpoint: str, chain: str, key: str) -> None:
    assert splitTls(text) == (endpoint, Tls(certificates=(Certificate(chain, key),)))


def test_further_certificates_of_the_chain_may_stand_in_a_file_of_their_own() -> None:
    endpoint, tls = splitTls("ssl:443:privateKey=a.key:certKey=a.pem:extraCertChain=b.pem")
    assert (endpoint, tls) == ("tcp:443", Tls(certificates=(Certificate("a.pem", "a.key", ("b.pem",)),)))


@pytest.mark.parametrize("text", ["tcp:443", r"unix:/ssl\:", "systemd:domain=INET:index=0", "ssl\\:443"])
def test_what_has_no_tls_is_left_alone(text: str) -> None:
    assert splitTls(text) == (text, None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ssl:443:sslmethod=SSLv3_METHOD", "sslmethod is not used: its versions are set by listen.tls.minimum in the"
                                           " configuration file"),
        ("ssl:443:dhParameters=x", "dhParameters is not used: keys are exchanged on elliptic curves"),
        ("ssl:1:2:3:4:5:6:7:8:9", "it takes 8 arguments at most"),
    ],
)  # fmt: skip
def test_what_tls_is_not_asked_for_in_that_way_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        splitTls(text)
