from pipeline.context import sample_rng


def draw(*args):
    return sample_rng(*args).random()


def test_same_sample_stage_and_seed_draw_the_same():
    assert draw(1, "stage", "id") == draw(1, "stage", "id")


def test_seed_stage_and_sample_each_change_the_draw():
    drawn = {draw(1, "stage", "id"), draw(2, "stage", "id"), draw(1, "other", "id"), draw(1, "stage", "id2")}
    assert len(drawn) == 4
