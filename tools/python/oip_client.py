#!/usr/bin/env python3
"""An unmodified client of the Open Inference Protocol against `carat serve`: Triton's own `tritonclient[http]`.

    oip_client.py http://127.0.0.1:8321 tumor examples/tumor.json [--api-key KEY]

Asks for metadata, sends the input as raw bytes (the client's default) and as JSON, compares the two answers, and fetches the
receipt that the answer names. Ends with 0 only if all of it worked.
"""

import argparse
import json
import sys
import urllib.request

import numpy as np
import tritonclient.http as triton


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("model")
    parser.add_argument("input", help="JSON: an object with one array")
    parser.add_argument("--api-key")
    args = parser.parse_args()
    headers = {"Authorization": f"Bearer {args.api_key}"} if args.api_key else {}

    client = triton.InferenceServerClient(args.server.removeprefix("http://"))
    assert client.is_server_live(), "live"
    assert client.is_server_ready(), "ready"
    assert client.is_model_ready(args.model), "model ready"
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata(args.model, headers=headers)
    (spec,) = about["inputs"]
    kinds = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "UINT8": np.uint8}
    with open(args.input) as file:
        (values,) = json.load(file).values()
    values = np.asarray(values, dtype=kinds[spec["datatype"]]).reshape(spec["shape"])

    answers = []
    for binary in (True, False):
        tensor = triton.InferInput(spec["name"], list(values.shape), spec["datatype"])
        tensor.set_data_from_numpy(values, binary_data=binary)
        wanted = [triton.InferRequestedOutput(output["name"], binary_data=binary) for output in about["outputs"]]
        result = client.infer(
            args.model,
            [tensor],
            outputs=wanted,
            request_id="oip",
            headers=dict(headers),  # the client writes into it
            parameters={"carat_nonce": "00112233445566778899aabbccddeeff"},
        )
        answer = result.get_response()
        assert answer["id"] == "oip" and answer["model_name"] == args.model
        receipt_id = answer["parameters"]["carat_receipt_id"]
        answers.append([result.as_numpy(output["name"]) for output in about["outputs"]])
    for one, other in zip(*answers):
        assert one.shape == other.shape and np.array_equal(one, other), "the same answer in both forms"

    tensor = triton.InferInput(spec["name"], list(values.shape), spec["datatype"])
    tensor.set_data_from_numpy(values)
    assert np.array_equal(client.infer(args.model, [tensor], headers=dict(headers)).as_numpy(about["outputs"][0]["name"]), answers[0][0])

    try:
        wrong = triton.InferInput("no such input", list(values.shape), spec["datatype"])
        wrong.set_data_from_numpy(values)
        client.infer(args.model, [wrong], headers=dict(headers))
    except triton.InferenceServerException as error:
        assert "no such input" in error.message(), error
    else:
        raise AssertionError("an input that the model does not have was taken")

    request = urllib.request.Request(f"{args.server}/v1/receipts/{receipt_id}", headers=headers)
    with urllib.request.urlopen(request) as response:
        receipt = response.read()
        assert response.headers["Carat-Receipt-Id"] == receipt_id
    assert len(receipt) > 1000
    print(f"ci: tritonclient: {len(answers)} forms, the same answer, receipt {receipt_id[:12]} of {len(receipt)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
