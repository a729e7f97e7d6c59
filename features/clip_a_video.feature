@clip
Feature: Clip a video
  Someone with a long video wants short clips of its best moments, ready to post.

  Background:
    Given the clip service with 1 gateway and 2 processors
    And the video "short"

  Scenario: A video becomes clips
    When I ask for at most 2 clips of 3 s to 4 s
    Then the request is accepted
    And the job completes within 60 s
    And there are 1 to 2 clips, best first
    And every clip is a playable 9:16 mp4 of 3 s to 4 s
    And the points of every clip add up to its score
    And every clip has a poster

  Scenario: A player fetches a part of a clip
    Given a finished job with 1 clip of 3 s to 4 s
    When I fetch bytes 100-199 of the first clip
    Then the status is 206
    And the answer has 100 bytes
    And the same bytes stand at 100 in the whole clip

  Scenario: A frame of the video
    When I ask for the frame at 2.5 s
    Then the status is 200
    And the answer is a JPEG

  Scenario: The same request sent twice makes one job
    When I ask twice for 1 clip of 3 s to 4 s with the same idempotency key
    Then both answers name the same job
    And there is 1 job

  Scenario Outline: What is not a video is refused with a reason
    When I upload <what>
    Then the status is 422
    And the problem code is "<code>"
    And the problem has a detail that a person understands

    Examples:
      | what             | code            |
      | a text file      | not_a_video     |
      | an empty file    | not_a_video     |
      | random bytes     | not_a_video     |
      | an audio file    | no_video_stream |

  Scenario: Every mistake of a request is named at once
    When I post to "/api/v1/process-video" the JSON
      """
      { "video_id": "nonsense", "max_clips": 0, "min_clip_length": 50, "max_clip_length": 10 }
      """
    Then the status is 422
    And the problem points at "/video_id"
    And the problem points at "/max_clips"
    And the problem points at "/min_clip_length"
