# One image for console, receiver, worker and the command line: which of them a container is, its command says.
FROM python:3.11.14-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /srv/plushify

COPY requirements.txt constraints.txt ./
RUN pip install -r requirements.txt

COPY . .
# What is generated (secrets, media) lies in one volume, shared by all containers, and belongs to an account of its own.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin plushify \
    && install -d -o plushify -g plushify -m 700 /data
ENV DATA_DIR=/data
USER plushify
VOLUME /data
