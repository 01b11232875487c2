"""What is written to a terminal while bars stand there is handed on by the line, and the streams are given back."""

from tests.report.live.terminal import in_a_terminal

HEARD = """
import os, sys, threading
from bench.report.live.overheard import Overheard

overheard = Overheard()
heard = []
overheard.start(heard.append)
{}
overheard.stop()
print("heard", heard)
print("after", [thread.name for thread in threading.enumerate() if thread.name == "overheard"])
"""


def heard(source):
    """What was heard of a source, and what the terminal shows of it: nothing but what came afterwards."""
    shown = in_a_terminal(HEARD.format(source)).replace("\r\n", "\n").splitlines()
    assert [line.split()[0] for line in shown] == ["heard", "after"]
    return eval(shown[0].removeprefix("heard "))  # noqa: S307  (a list of text of our own)


def test_every_line_of_either_stream_is_heard_in_its_order():
    """From Python, from below it, and what is in the making when the streams are given back."""
    source = (
        "print('one'); sys.stdout.flush(); print('two', file=sys.stderr); os.write(2, b'three\\n'); "
        "os.write(1, b'fo'); os.write(1, b'ur\\n'); print(); sys.stdout.write('half a line')"
    )
    assert heard(source) == ["one", "two", "three", "four", "", "half a line"]


def test_of_a_bar_the_last_state_is_heard():
    assert heard("os.write(2, b' 1 %\\r 2 %\\r 3 %\\r\\n')") == [" 3 %"]


def test_more_than_a_pipe_holds_is_heard_whole():
    """A writer waits for nobody."""
    found = heard("os.write(1, b''.join(b'%06d\\n' % i for i in range(30000)))")
    assert found == [f"{index:06d}" for index in range(30000)]


def test_bytes_that_are_no_text_are_heard():
    assert heard("os.write(1, b'\\xff caf\\xc3\\xa9\\n')") == ["\ufffd caf\u00e9"]


def test_a_stream_that_is_no_terminal_is_left_alone(capfd):
    """As in a pipe: nobody draws there."""
    import os

    from bench.report.live.overheard import Overheard

    overheard, said = Overheard(), []
    overheard.start(said.append)
    os.write(1, b"to a file\n")
    overheard.stop()
    overheard.terminal.close()

    assert said == []
    assert capfd.readouterr().out == "to a file\n"
