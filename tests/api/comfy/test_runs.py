"""Graphs from submission to history, over routes and socket, with the order in which clients are told."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from support.graphdoors import TERMINAL, Client, GraphDoors, Json, listen, text_to_image


class TestSubmission:
    def test_no_graph(self, ada: Client) -> None:
        answer = ada.post("/prompt", {})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "no_prompt"
        assert answer.json()["node_errors"] == {}

    def test_unknown_class(self, ada: Client) -> None:
        error = ada.post("/prompt", {"prompt": {"1": {"class_type": "Nonsense", "inputs": {}}}}).json()["error"]
        assert error["type"] == "invalid_prompt"
        assert error["extra_info"] == {"node_id": "1", "class_type": "Nonsense"}

    def test_every_output_is_wrong(self, ada: Client) -> None:
        graph = text_to_image(steps=0)
        answer = ada.post("/prompt", {"prompt": graph})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "prompt_outputs_failed_validation"
        (found,) = answer.json()["node_errors"]["3"]["errors"]
        assert (found["type"], found["extra_info"]["input_name"]) == ("value_smaller_than_min", "steps")

    def test_one_of_two_outputs_is_wrong(self, ada: Client) -> None:
        graph = text_to_image()
        graph["10"] = {"class_type": "PreviewImage", "inputs": {}}
        answer = ada.post("/prompt", {"prompt": graph})
        assert answer.status_code == 200
        assert list(answer.json()["node_errors"]) == ["10"]
        entry = ada.ended(answer.json()["prompt_id"])
        assert list(entry["outputs"]) == ["9"]

    def test_targets(self, ada: Client) -> None:
        graph = text_to_image()
        graph["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
        entry = ada.run(graph, partial_execution_targets=["10"])
        assert list(entry["outputs"]) == ["10"]
        assert entry["outputs"]["10"]["images"][0]["type"] == "temp"

    def test_own_prompt_id(self, ada: Client, bob: Client) -> None:
        assert ada.submit(text_to_image(), prompt_id="mine-1") == "mine-1"
        assert ada.post("/prompt", {"prompt": text_to_image(), "prompt_id": "mine-1"}).status_code == 409
        assert bob.post("/prompt", {"prompt": text_to_image(), "prompt_id": "mine-1"}).status_code == 409
        assert bob.get("/history/mine-1").json() == {}

    def test_no_credits(self, graphs: GraphDoors) -> None:
        answer = graphs.account("0").post("/prompt", {"prompt": text_to_image()})
        assert answer.status_code == 402
        error = answer.json()["error"]
        assert error["type"] == "insufficient_balance"
        assert not error["message"].lower().startswith("payment required")

    def test_prompt_that_the_rules_refuse(self, ada: Client) -> None:
        forbidden = "a photo of a naked child"
        answer = ada.post("/prompt", {"prompt": text_to_image(forbidden)})
        assert answer.status_code == 403
        assert answer.json()["error"]["type"] == "content_moderation"
        assert ada.post("/prompt", {"prompt": text_to_image(negative=forbidden)}).status_code == 200

    def test_refused_words_by_a_side_door(self, ada: Client) -> None:
        graph = text_to_image()
        graph["20"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "a photo of a naked child", "clip": ["4", 1]}}
        graph["21"] = {
            "class_type": "InpaintModelConditioning",
            "inputs": {
                "positive": ["6", 0],
                "negative": ["20", 0],
                "vae": ["4", 2],
                "pixels": ["22", 0],
                "mask": ["23", 0],
                "noise_mask": True,
            },
        }
        graph["22"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
        graph["23"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 64}}
        graph["3"]["inputs"]["positive"] = ["21", 1]
        answer = ada.post("/prompt", {"prompt": graph})
        assert answer.status_code == 403, answer.text

    @pytest.mark.parametrize("prefix", ["../x", "/etc/x", "C:/x", "a\\b", "x\0y", "a/../../b"])
    def test_prefix_that_leads_out(self, ada: Client, prefix: str) -> None:
        answer = ada.post("/prompt", {"prompt": text_to_image(filename_prefix=prefix)})
        assert answer.status_code == 400
        assert "filename_prefix" in answer.text

    @pytest.mark.parametrize("more", [{"number": "x"}, {"client_id": 7}, {"extra_data": []}, {"prompt_id": "x" * 200}])
    def test_wrong_surroundings(self, ada: Client, more: Json) -> None:
        answer = ada.post("/prompt", {"prompt": text_to_image(), **more})
        assert answer.status_code == 400
        assert next(iter(more)) in answer.json()["error"]["message"]

    def test_secrets_are_kept_nowhere(self, ada: Client) -> None:
        graph = text_to_image()
        graph["6"]["inputs"]["api_key_override"] = "sk-typed"
        workflow = {"id": "w1", "nodes": [{"widgets_values": ["a red fox", " sk-typed"]}]}
        extra = {
            "extra_pnginfo": {"workflow": workflow},
            "auth_token_comfy_org": "token-1",
            "api_key_comfy_org": "key-1",
        }
        prompt_id = ada.submit(graph, extra_data=extra)
        ada.ended(prompt_id)
        shown = ada.get(f"/history/{prompt_id}").text + ada.get(f"/jobs/{prompt_id}").text
        assert "w1" in shown
        assert not any(secret in shown for secret in ("sk-typed", "token-1", "key-1"))


class TestHistory:
    def test_entry(self, ada: Client) -> None:
        prompt_id = ada.submit(text_to_image(), client_id="c9", extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}})
        entry = ada.ended(prompt_id)
        number, known_as, graph, extra, outputs = entry["prompt"]
        assert (number, known_as, outputs) == (1, prompt_id, ["9"])
        assert graph["6"]["inputs"]["text"] == "a red fox"
        assert extra["client_id"] == "c9"
        assert entry["outputs"] == {
            "9": {"images": [{"filename": "fox_00001_.png", "subfolder": "", "type": "output"}]}
        }
        assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("success", True)
        assert [name for name, _ in entry["status"]["messages"]] == [
            "execution_start",
            "execution_cached",
            "execution_success",
        ]
        assert all(data["timestamp"] > 1e12 for _, data in entry["status"]["messages"])
        assert entry["meta"]["9"]["real_node_id"] == "9"

    def test_pages_and_deleting(self, ada: Client) -> None:
        ids = [ada.submit(text_to_image(seed=seed)) for seed in range(4)]
        for prompt_id in ids:
            ada.ended(prompt_id)
        assert list(ada.get("/history").json()) == ids
        assert list(ada.get("/history?max_items=2").json()) == ids[2:]
        assert list(ada.get("/history?max_items=2&offset=1").json()) == ids[1:3]
        assert ada.post("/history", {"delete": [ids[0], "nonsense"]}).content == b""
        assert list(ada.get("/history").json()) == ids[1:]
        assert ada.post("/history", {"clear": True}).status_code == 200
        assert ada.get("/history").json() == {}

    def test_failure(self, graphs: GraphDoors, ada: Client) -> None:
        entry = ada.run(text_to_image(graphs.live.FAIL))
        assert entry["status"]["status_str"] == "error"
        name, data = entry["status"]["messages"][-1]
        assert name == "execution_error"
        assert (data["node_id"], data["node_type"], data["traceback"]) == ("3", "KSampler", [])
        assert "4" in data["executed"]

    def test_gallery_keeps_what_was_saved(self, ada: Client) -> None:
        entry = ada.run(text_to_image("an owl for the gallery"))
        key = {"authorization": f"Bearer {ada.key}"}
        listed = ada.http.get(f"{ada.live.url}/api/gallery", headers=key).json()["pictures"]
        assert [each["prompt"] for each in listed] == ["an owl for the gallery"]
        name = entry["outputs"]["9"]["images"][0]["filename"]
        assert ada.get("/view", params={"filename": name}).status_code == 200
        ada.http.delete(f"{ada.live.url}/api/gallery/{listed[0]['id']}")
        assert ada.get("/view", params={"filename": name}).status_code == 404


class TestSocket:
    def test_first_frame(self, ada: Client) -> None:
        with ada.socket("") as socket:
            (status,) = listen(socket, until="status").of("status")
        assert status["status"]["exec_info"]["queue_remaining"] == 0
        assert len(status["sid"]) == 32

    def test_features(self, ada: Client) -> None:
        with ada.socket(flags=True) as socket:
            (told,) = listen(socket, until="feature_flags").of("feature_flags")
        assert told == ada.get("/api/features").json()
        assert told["supports_preview_metadata"] is True
        assert "assets" not in told

    def test_order(self, ada: Client) -> None:
        with ada.socket("c1", flags=True) as socket:
            listen(socket, until="feature_flags")
            prompt_id = ada.submit(text_to_image(), client_id="c1")
            heard = listen(socket)
        kinds = [kind for kind in heard.kinds() if kind not in {"progress", "progress_state"}]
        assert [kind for kind in kinds if kind != "status"] == [
            "execution_start",
            "execution_cached",
            *["executing"] * 7,
            "executed",
            "execution_success",
            "executing",
        ]
        assert 1 <= kinds.count("status") <= 2, "one for the submission, at a moment of its own, and one at the end"
        assert kinds[-4:] == ["executed", "execution_success", "status", "executing"]
        assert heard.of("status")[-1]["status"]["exec_info"]["queue_remaining"] == 0
        assert heard.of("executing")[-1] == {"node": None, "display_node": None, "prompt_id": prompt_id}
        assert heard.of("executed") == [
            {
                "node": "9",
                "display_node": "9",
                "output": {"images": [{"filename": "fox_00001_.png", "subfolder": "", "type": "output"}]},
                "prompt_id": prompt_id,
            }
        ]
        last = heard.of("progress_state")[-1]["nodes"]
        assert set(last) == {"3", "4", "5", "6", "7", "8", "9"}
        assert {node["state"] for node in last.values()} == {"finished"}

    @pytest.mark.parametrize("kind", ["end", "status", "executing"])
    def test_who_hears_of_the_end_finds_the_history(self, ada: Client, kind: str) -> None:
        with ada.socket("c1") as socket:
            for seed in range(10):
                prompt_id = ada.submit(text_to_image(seed=seed), client_id="c1")
                asked = False
                while True:
                    frame = socket.recv(timeout=60)
                    said = json.loads(frame) if isinstance(frame, str) else {}
                    if _is_last(said, kind, prompt_id):
                        assert prompt_id in ada.get(f"/history/{prompt_id}").json()
                        asked = True
                    if _is_last(said, "executing", prompt_id):  # nothing of this run comes after it
                        break
                assert asked

    def test_known_results_are_told_again(self, ada: Client) -> None:
        first = ada.run(text_to_image())
        with ada.socket("c1") as socket:
            second = ada.submit(text_to_image(), client_id="c1")
            heard = listen(socket)
        assert heard.of("execution_cached")[0]["nodes"] == ["4", "6", "7", "5", "3", "8", "9"]
        assert heard.of("executed")[0]["output"] == first["outputs"]["9"]
        assert ada.ended(second)["outputs"] == first["outputs"]

    def test_known_result_whose_file_was_deleted_is_saved_again(self, ada: Client) -> None:
        ada.run(text_to_image())
        key = {"authorization": f"Bearer {ada.key}"}
        (kept,) = ada.http.get(f"{ada.live.url}/api/gallery", headers=key).json()["pictures"]
        ada.http.delete(f"{ada.live.url}/api/gallery/{kept['id']}")
        again = ada.run(text_to_image())
        assert again["outputs"]["9"]["images"][0]["filename"] == "fox_00002_.png"

    def test_late_socket_learns_that_all_is_done(self, ada: Client) -> None:
        ada.run(text_to_image(), client_id="c1")
        with ada.socket("c1") as socket:
            assert listen(socket, until="status").of("status")[0]["status"]["exec_info"]["queue_remaining"] == 0

    def test_late_socket_learns_what_runs(self, graphs: GraphDoors, ada: Client) -> None:
        with graphs.live.slow_workers(0.2), ada.socket("c1") as early:
            prompt_id = ada.submit(text_to_image(seed=5, steps=8), client_id="c1")
            listen(early, until="progress")
            with ada.socket("c1") as socket:
                heard = listen(socket, until="executing")
                assert heard.of("status")[0]["status"]["exec_info"]["queue_remaining"] == 1
                assert heard.of("executing")[0]["node"] == "3"
                ended = listen(socket)
        assert ended.of("execution_success")[0]["prompt_id"] == prompt_id

    def test_second_socket_replaces_the_first(self, ada: Client) -> None:
        with ada.socket("c1") as first:
            listen(first, until="status")
            with ada.socket("c1") as second:
                assert listen(second, until="status").of("status")[0]["sid"] == "c1"
                with pytest.raises(Exception, match="4000"):
                    first.recv(timeout=60)

    def test_failed_run(self, graphs: GraphDoors, ada: Client) -> None:
        with ada.socket("c1") as socket:
            ada.submit(text_to_image(graphs.live.FAIL), client_id="c1")
            heard = listen(socket)
        kinds = [kind for kind in heard.kinds() if not kind.startswith("progress")]
        assert kinds[-3:] == ["execution_error", "status", "executing"]
        (error,) = heard.of("execution_error")
        assert error["node_id"] == "3"
        assert error["exception_type"] == "GenerationFailed"
        assert heard.of("progress_state")[-1]["nodes"]["3"]["state"] == "error"


class TestPreviews:
    def heard(self, graphs: GraphDoors, ada: Client, *, flags: bool, **more: Any) -> list[bytes]:
        with ada.socket("c1", flags=flags) as socket:
            listen(socket, until="feature_flags" if flags else "status")
            ada.submit(text_to_image(), client_id="c1", **more)
            return listen(socket).pictures

    def test_clients_that_know_them(self, graphs: GraphDoors, ada: Client) -> None:
        pictures = self.heard(graphs, ada, flags=True)
        assert pictures
        event, length = struct.unpack(">II", pictures[0][:8])
        facts = json.loads(pictures[0][8 : 8 + length])
        assert event == 4
        assert (facts["node_id"], facts["image_type"]) == ("3", "image/jpeg")
        assert pictures[0][8 + length :].startswith(b"\xff\xd8")

    def test_clients_that_say_nothing(self, graphs: GraphDoors, ada: Client) -> None:
        assert self.heard(graphs, ada, flags=False) == []

    def test_clients_that_ask(self, graphs: GraphDoors, ada: Client) -> None:
        pictures = self.heard(graphs, ada, flags=False, extra_data={"preview_method": "auto"})
        assert {struct.unpack(">II", each[:8]) for each in pictures} == {(1, 1)}

    def test_results_over_the_socket(self, ada: Client) -> None:
        with ada.socket("c1") as socket:
            graph = text_to_image(output="SaveImageWebsocket")
            del graph["9"]["inputs"]["filename_prefix"]
            prompt_id = ada.submit(graph, client_id="c1")
            heard = listen(socket)
        (only,) = heard.pictures
        assert struct.unpack(">II", only[:8]) == (1, 2)
        assert only[8:].startswith(b"\x89PNG")
        assert ada.ended(prompt_id)["outputs"] == {}


class TestStopping:
    def test_interrupt(self, graphs: GraphDoors, ada: Client) -> None:
        with graphs.live.slow_workers(0.2), ada.socket("c1") as socket:
            prompt_id = ada.submit(text_to_image(seed=11, steps=50), client_id="c1")
            listen(socket, until="progress")
            assert ada.http.post("/interrupt").content == b""
            heard = listen(socket)
        (told,) = heard.of("execution_interrupted")
        assert (told["prompt_id"], told["node_id"], told["node_type"]) == (prompt_id, "3", "KSampler")
        entry = ada.ended(prompt_id)
        assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
        assert ada.get(f"/jobs/{prompt_id}").json()["status"] == "cancelled"

    def test_interrupt_of_another_run_does_nothing(self, graphs: GraphDoors, ada: Client) -> None:
        with graphs.live.slow_workers(0.1):
            prompt_id = ada.submit(text_to_image(seed=12, steps=8))
            ada.post("/interrupt", {"prompt_id": "another"})
            assert ada.ended(prompt_id)["status"]["status_str"] == "success"

    def test_queue(self, graphs: GraphDoors, ada: Client) -> None:
        with graphs.live.slow_workers(0.3):
            ids = [ada.submit(text_to_image(seed=seed, steps=20)) for seed in range(20, 27)]
            queue = ada.get("/queue").json()
            assert {item[1] for item in queue["queue_running"] + queue["queue_pending"]} == set(ids)
            assert ada.get("/prompt").json() == {"exec_info": {"queue_remaining": 7}}
            waiting = [item[1] for item in queue["queue_pending"]]
            assert waiting
            ada.post("/queue", {"delete": [waiting[0]]})
            assert ada.ended(waiting[0])["status"]["messages"][-1][0] == "execution_interrupted"
            ada.post("/queue", {"clear": True})
            ada.post("/interrupt")
            for prompt_id in ids:
                ada.ended(prompt_id)
        assert ada.get("/queue").json() == {"queue_running": [], "queue_pending": []}


class TestRunsApi:
    def test_list(self, graphs: GraphDoors, ada: Client) -> None:
        extra = {"extra_pnginfo": {"workflow": {"id": "w7"}}}
        good = ada.submit(text_to_image(seed=1), extra_data=extra)
        bad = ada.submit(text_to_image(graphs.live.FAIL))
        ada.ended(good)
        ada.ended(bad)
        answer = ada.get("/jobs?limit=1").json()
        assert answer["pagination"] == {"offset": 0, "limit": 1, "total": 2, "has_more": True}
        assert [job["id"] for job in answer["jobs"]] == [bad]
        assert [job["id"] for job in ada.get("/jobs?sort_order=asc").json()["jobs"]] == [good, bad]
        (done,) = ada.get("/jobs?status=completed,nonsense").json()["jobs"]
        assert (done["id"], done["status"], done["workflow_id"], done["outputs_count"]) == (good, "completed", "w7", 1)
        assert done["preview_output"] == {
            "filename": "fox_00001_.png",
            "subfolder": "",
            "type": "output",
            "nodeId": "9",
            "mediaType": "images",
        }
        assert isinstance(done["create_time"], int)
        (failed,) = ada.get("/jobs?status=failed").json()["jobs"]
        assert failed["execution_error"]["node_id"] == "3"
        assert [job["id"] for job in ada.get("/jobs?workflow_id=w7").json()["jobs"]] == [good]
        assert ada.get("/jobs?status=nonsense").json()["jobs"] == []

    def test_detail(self, ada: Client) -> None:
        prompt_id = ada.submit(text_to_image(), extra_data={"extra_pnginfo": {"workflow": {"id": "w", "nodes": []}}})
        ada.ended(prompt_id)
        job = ada.get(f"/jobs/{prompt_id}").json()
        assert job["outputs"]["9"]["images"][0]["filename"] == "fox_00001_.png"
        assert job["workflow"]["extra_data"]["extra_pnginfo"]["workflow"] == {"id": "w", "nodes": []}
        assert job["workflow"]["prompt"]["9"]["class_type"] == "SaveImage"
        assert job["execution_status"]["completed"] is True
        assert ada.get("/jobs/nonsense").status_code == 404
        assert "error" in ada.get("/jobs/nonsense").json()

    def test_cancel(self, graphs: GraphDoors, ada: Client) -> None:
        with graphs.live.slow_workers(0.2):
            ids = [ada.submit(text_to_image(seed=seed, steps=50)) for seed in (31, 32)]
            assert ada.post(f"/api/jobs/{ids[0]}/cancel").status_code == 200
            assert ada.post("/api/jobs/cancel", {"job_ids": [*ids, "nonsense"]}).status_code == 200
            for prompt_id in ids:
                ada.ended(prompt_id)
        assert ada.post(f"/jobs/{ids[0]}/cancel").json() == {"id": ids[0], "cancelled": False}
        assert {job["status"] for job in ada.get("/jobs").json()["jobs"]} == {"cancelled"}


def _is_last(said: Json, kind: str, prompt_id: str) -> bool:
    if kind == "end":
        return said.get("type") in TERMINAL and said["data"]["prompt_id"] == prompt_id
    if kind == "status":
        return (
            said.get("type") == "status"
            and said["data"]["status"]["exec_info"]["queue_remaining"] == 0
            and ("sid" not in said["data"])
        )
    return said.get("type") == "executing" and said["data"]["node"] is None
