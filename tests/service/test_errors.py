from service.errors import NotFoundError


def test_two_errors_of_the_same_words_are_two_and_can_be_kept_in_a_set() -> None:
    first, second = NotFoundError("No job has id 7."), NotFoundError("No job has id 7.")
    assert len({first, second}) == 2
