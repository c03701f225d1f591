"""`s3.py USER PASSWORD`: a real S3 client that stores an object, lists it and fetches it again."""

from __future__ import annotations

import sys

import botocore.exceptions
import botocore.session

client = botocore.session.get_session().create_client(
    "s3",
    endpoint_url="http://127.0.0.1:9000",
    region_name="us-east-1",
    aws_access_key_id=sys.argv[1],
    aws_secret_access_key=sys.argv[2],
)
DATA = bytes(range(256)) * 5000  # more than one packet, and not only text
WHERE = {"Bucket": "volume", "Key": "directory/object"}
try:
    client.put_object(Body=DATA, **WHERE)
    print("put")
    found = client.list_objects_v2(Bucket="volume", Prefix="directory/")["Contents"]
    if [each["Size"] for each in found if each["Key"] == WHERE["Key"]] == [len(DATA)]:
        print("listed")
    print("same" if client.get_object(**WHERE)["Body"].read() == DATA else "different")
except botocore.exceptions.ClientError as error:
    sys.exit(str(error))
