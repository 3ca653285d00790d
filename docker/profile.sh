# A login shell, which KubeRay starts Ray in, sets PATH anew and forgets that of the image.
export PATH=/app/.venv/bin:$PATH
