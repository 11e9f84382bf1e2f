"""pytest plugins, loaded with `-p` in pytest.ini because they have to work before Django is configured."""
