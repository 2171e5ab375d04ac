from __future__ import annotations

import cv2
import numpy as np

from wsol_bench.maps.oracle import oracle_all, oracle_largest


def test_the_oracle_is_the_plain_loop() -> None:
    q = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (20, 30)).astype(np.uint8), (5, 5), 0)
    largest, every = oracle_largest(q), oracle_all(q)
    assert largest.dtype == every[0].dtype == np.int16
    for cut in range(255):
        _, binary = cv2.threshold(q, cut, 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        boxes = []
        for x, y, width, height in map(cv2.boundingRect, contours):
            boxes.append([x, y, min(x + width, 29), min(y + height, 19)])
        assert every[cut].tolist() == (boxes or [[0, 0, 0, 0]])
        first = int(np.argmax([cv2.contourArea(contour) for contour in contours])) if contours else 0
        assert largest[cut].tolist() == every[cut][first].tolist()
