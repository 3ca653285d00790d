from zoo import report


def test_a_model_that_is_not_there_is_named_and_leaves_the_rest_of_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "folder_of", lambda name: tmp_path / name)
    page = report.gallery()
    assert page.count("This model is not there.") == 8
    assert page.count("data:image/png;base64,") == report.SHOWN
    assert "<script" not in page
