"""Personal data by its form: what is some, what only looks like it, and how it is masked."""

import random

import pytest

from limbeck.distill.personal import count_kinds, find_personal, mask


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("e-mail", "write to anna.berg+shop@mail.uni-bremen.de today"),
        ("e-mail", "(Anna_Berg99@web.de)"),
        ("phone", "call +49 30 123456 78"),
        ("phone", "+1 (212) 736-5000"),
        ("phone", "my number: 212-736-5000."),
        ("phone", "(212) 736-5000"),
        ("phone", "Tel. 0421 218-60000"),
        ("card", "4539 1488 0343 6467"),
        ("card", "paid with 5500005555555559"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "to GB29NWBK60161331926819 please"),
        ("ssn", "SSN 212-45-6789"),
        ("ip", "from 84.132.17.201 at night"),
        ("key", "sk-proj-" + "aB3" * 12),
        ("key", "ghp_" + "aB3d" * 9),
        ("key", "AKIAQWERTYUIOPASDFGH"),
        ("key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"),
        ("key", "hf_" + "aB3d" * 9),
    ],
)
def test_a_form_is_found_once_and_masked(kind, text):
    assert count_kinds(text) == {kind: 1}
    (finding,) = find_personal(text)
    secret = text[finding.start : finding.end]
    masked = mask(text)
    assert secret not in masked and f"<{kind}: " in masked and count_kinds(masked) == {}
    assert masked.startswith(text[: finding.start]) and masked.endswith(text[finding.end :])


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 1234567890.",
        "In 2023-2024 the sum was 1,234,567.89 and before that 123456.",
        "3.14159265358979323846",
        "=SUM(A1:A100)*1.19",
        "4539 1488 0343 6468",  # a card's check digit does not fit
        "1111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 01",  # nor an IBAN's
        "version 12.0.1.22 and numpy==11.2.3.4",
        "192.168.0.1, 10.0.0.5, 127.0.0.1, 8.8.8.8, 999.1.1.1",
        "user@example.com and git@github.com",
        "noreply@service.de",
        "call 212-555-0123",
        "https://name@web.de/path",
        "2024-05-17 12:30:45",
        "ISBN 978-3-16-148410-0",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
        "000-12-3456",
        "0x1234567890abcdef 1234567890abcdef1234567890abcdef12345678",
        "a - b * 100 - 200 - 3000",
        "from x @ y import z; @decorator",
        "sk-learn and pypi-server",
        "the ratio 5/10/2020 and 100 200 300",
        "",
    ],
)
def test_ordinary_numbers_and_shown_addresses_are_none(text):
    assert count_kinds(text) == {} and mask(text) == text


def test_sums_of_word_problems_are_no_ones():
    drawn = random.Random(6)
    for _ in range(2_000):
        a, b = drawn.randint(0, 10**7), drawn.randint(1, 10**5)
        text = f"{a} + {b} = {a + b}; {a} - {b} = {a - b}; {a:,} / {b} = {a / b:.6f}; {a % 100:02d}:{b % 60:02d}; row {b}, ${a / 100:,.2f}"
        assert count_kinds(text) == {}, text


def test_several_are_found_in_their_order():
    text = "anna@web.de, then +49 421 2186 0000, then bert@gmx.de"
    assert [f.kind for f in find_personal(text)] == ["e-mail", "phone", "e-mail"]
    assert mask(text) == "<e-mail: ...>, then <phone: +4...>, then <e-mail: ...>" and count_kinds(text) == {"e-mail": 2, "phone": 1}


def test_a_long_text_is_read_in_no_time():
    import time

    start = time.process_time()
    count_kinds("1234 5678 " * 20_000 + "a.b-c+d" * 20_000 + "+49 " * 20_000)
    assert time.process_time() - start < 3
